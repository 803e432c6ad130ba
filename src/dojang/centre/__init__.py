"""The certificate centre: a server in front of local authorities, and its client for officers.

Nothing is imported here, so that a command line that speaks to a centre does not load a web framework.
"""
