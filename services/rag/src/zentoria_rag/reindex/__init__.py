"""The index anew from the record, and a new model beside the one that answers."""
