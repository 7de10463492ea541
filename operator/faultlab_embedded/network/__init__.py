"""The pods' network: one bridge, a network namespace for each pod, no way out, names in /etc/hosts."""
