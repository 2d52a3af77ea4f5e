"""Answers of models: asked for, written as events come, heard by whoever listens, kept."""
