"""The facts about networks, files and Immich's model names: frozen data, no behaviour."""
