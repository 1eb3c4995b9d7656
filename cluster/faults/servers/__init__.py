"""Several API servers over one store, broken on purpose under recorded load; and what must hold.

Belongs here: server processes, clients whose calls are recorded, campaigns of faults, and the
checker, which is pure. Production code never imports this.
"""
