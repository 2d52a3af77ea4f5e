"""From a plan to the steps that carry it out."""
