"""`make sam`: the API and the authorizer in SAM's containers, the stores in compose's, the schedules from here.

Only the loopback is listened on, and from inside a container the host's loopback cannot be reached. So the containers
reach the stores by their names in compose's network, and whatever else the functions do is done by processes of this
machine: an executor that is always awake, which the API rings through Redis, and the template's schedules.
"""
