"""What a study asks for: its checked configuration, its cohorts, its runs, and the code they follow from."""
