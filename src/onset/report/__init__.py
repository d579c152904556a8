"""Pictures and one page. ``charts`` is the only importer of Altair; nothing is fitted here."""
