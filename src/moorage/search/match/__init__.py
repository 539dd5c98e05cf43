"""What a request finds in the index: its plan, the trees that serve it, candidates and answers."""
