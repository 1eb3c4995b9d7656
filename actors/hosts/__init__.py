"""Hosts run components: `ray` gives each actor a process, `local` runs all of them in this one."""
