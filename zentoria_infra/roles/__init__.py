"""From the inventory to the desired state of each guest. Pure: what is fetched or made comes through ``Materials``."""
