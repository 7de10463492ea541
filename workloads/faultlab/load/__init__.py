"""Load: Locust users that speak RESP to the members and write down every operation.

One process (or a Locust master with workers) a load pod. Importing Locust patches everything with
gevent, so nothing but `faultlab-load` may import `faultlab.load.locustfile`.
"""
