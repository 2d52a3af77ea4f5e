"""Audio of others, decoded in a process with limits, and audio of ours, encoded."""
