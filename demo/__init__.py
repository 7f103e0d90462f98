"""A patrol day, and the week after it, played: real server, phones and township, invented people (`make demo`, `make week`).

    stage.py         what a scene may use: hands with phones, the office, the clock, the teller
    morning.py ...   the scenes, small functions over a `Stage`, in the order of day.py
    friday.py ...    the week's, in the order of week.py; casework.py: what they have in common
    notebook.py      what people typed, written down before any product code sees it
    proof.py         is every value of the notebook somewhere to be seen? Reads tables and stores, imports no rule of the product
    account.py       what is told at the end, computed from the phones' stores and the server's tables

A new scene: a function, and its line in the chapter it belongs to.
"""
