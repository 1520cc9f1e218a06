"""Learners of language agents: imitation, policy gradient and language modelling. One file each, beside its paper."""
