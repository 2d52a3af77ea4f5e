"""How well questions find their pages, and from which score on documents support an answer."""
