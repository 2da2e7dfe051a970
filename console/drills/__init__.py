"""Drills: a past event answered again by a `scarp up` of its own, while things break.

machine.py   a throw-away SCARP_HOME with `scarp up` in it, used as a person would use it
faults.py    what can be broken, and when
replay.py    one event through the machine: what happened when, and what came of it
"""
