"""The scheduler: which node each pod runs on.

From the bottom up: `model` (what a pod asks for, as values), `columns` (nodes and their pods as
arrays), `framework` (extension points, profiles, the scheduling cycle), `plugins` (one file
each, under upstream's names), `preemption` (whose pods would have to go), `devices` (which ones
claims get), `queue` (pods that wait), and the component, which follows the API and writes
decisions.

Everything up to and with the cycle is pure: (columns, pods) -> (bindings, reasons). Does not
belong here: anything that changes pods or nodes other than by binding, preemption and conditions.
"""
