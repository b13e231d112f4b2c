"""How near the fleet's routing comes to one queue in front of all slots: `make bench-routing`."""
