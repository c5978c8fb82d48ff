"""Who may do what: keys for programs, sessions for people, and the record of what they did."""
