"""The command line: thin commands over `Agent` and `AgentOS`.

In: what a person types. Out: tables, progress bars, one clear line when something fails. No logic lives here.
"""
