"""The web face: REST, Socket.IO and the page. Each view parses, asks the tracker, serialises."""
