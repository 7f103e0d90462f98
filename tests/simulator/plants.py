"""Planted bugs."""

def plant_in_server(name):
    pass
