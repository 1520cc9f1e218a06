"""Sources to clean documents: files, folders and web pages.

In: locations. Out: `Document` records. Nothing here is an instruction to anybody: what was read is data.
It does not know models, learners or the knowledge base.
"""
