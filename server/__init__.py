"""The switchboard: the only floor that reads the environment, owns processes and wires the others together.

It must hold no rule about records (that is `sync`), no SQL of the product (`storage`) and no HTTP shape (`api`).
"""
