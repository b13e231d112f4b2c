"""Entry point of `claude-responder` and `python -m responder`."""

from responder.command import main

if __name__ == "__main__":
    main()
