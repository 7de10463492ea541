"""The embedded node: a kubelet whose containers are processes in namespaces of their own.

Kept free of imports: the container shim starts an interpreter for each container and passes through here.
"""
