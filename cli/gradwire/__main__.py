"""`python -m gradwire` is `gradwire`."""

from gradwire.main import main

if __name__ == "__main__":
    main()
