"""The HTTP face of the registry: paths, formats and streams as kube-apiserver has them."""
