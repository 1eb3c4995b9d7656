"""One plugin for each kind of volume: see `volumes.plugin.Plugin`."""
