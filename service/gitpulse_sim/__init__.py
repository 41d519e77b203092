"""A GitLab to develop against: hooks API, delivery engine, real git repositories, a clock and faults that can be moved.

It stands alone: it knows GitLab, and nothing of GitPulse. Facts about GitLab that could not be confirmed are marked
`[unverified]` and have a switch in `instance.Instance` where the answer could matter to a client.
"""
