"""How bodies are brought: politely and safely from the web, or out of archives."""
