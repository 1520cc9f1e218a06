"""Model library, engines, transcripts' renderer and adapters. They do not know tasks, agents or learning."""
