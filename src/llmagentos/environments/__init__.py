"""Tasks and rewards: worlds in which an agent's actions have consequences.

In: actions. Out: observations, rewards and verifiable success. Importing this room tells Gymnasium the names of the
built-in environments (the one stated exception to "no work at import"); their modules load when one is made.
It does not know who acts or what is learned from it.
"""

from llmagentos.environments.registry import register_builtin

register_builtin()
