"""`python -m unpairaug`, and so `accelerate launch -m unpairaug degrade …`: the program as a module."""

from unpairaug.commands import main

if __name__ == "__main__":
    main()
