"""A patrol day, played: real server, real phones, a real township, invented people (`make demo`).

    stage.py         what a scene may use: hands with phones, the office, the clock, the teller
    morning.py ...   the scenes, small functions over a `Stage`, in the order of day.py
    notebook.py      what people typed, written down before any product code sees it
    proof.py         is every value of the notebook somewhere to be seen? Reads tables and stores, imports no rule of the product
    account.py       what is told at the end, computed from the phones' stores and the server's tables

A new scene: a function, and its line in day.py.
"""
