"""How realistic a translator is, judged without pairs."""
