{{/* The image of every pod of the lab. */}}
{{- define "faultlab.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Labels of an object; called with (list $ "faultlab-operator"). */}}
{{- define "faultlab.labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/part-of: faultlab
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels that select pods; they can never change. The operator finds the agents by the first. */}}
{{- define "faultlab.selector" -}}
app.kubernetes.io/name: {{ . }}
app.kubernetes.io/part-of: faultlab
{{- end -}}

{{/* What the operator does in a namespace of systems; in a ClusterRole, or a Role in each namespace. */}}
{{- define "faultlab.operatorRules" -}}
# A scenario makes its systems, load and faults, and removes them when it is done.
- apiGroups: [faultlab.dev]
  resources: [raftclusters, loadtests, networkpartitions]
  verbs: [create, patch, delete]
- apiGroups: [faultlab.dev]
  resources: [raftclusters/status, loadtests/status, networkpartitions/status, scenarios/status]
  verbs: [patch]
# A system's children, by server-side apply (which is patch, and create where there is none yet).
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [create, patch]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create, patch]
# The key by which a system's members prove themselves to each other, and the operator to them. RBAC cannot
# say which Secrets; whoever may create pods may have them shown by one anyway.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, get]
# The volumes of members that were removed.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, delete]
# A load's pod is made, a member's is deleted to be rolled out or replaced.
- apiGroups: [""]
  resources: [pods]
  verbs: [create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* What the operator watches in a namespace. */}}
{{- define "faultlab.operatorWatches" -}}
- apiGroups: [faultlab.dev]
  resources: [raftclusters, loadtests, networkpartitions, scenarios]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- end -}}
