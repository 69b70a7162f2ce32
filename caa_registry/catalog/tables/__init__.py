"""The tables of the catalogue.

These modules do not postpone the evaluation of annotations: SQLAlchemy would evaluate each from its text, which takes a
quarter of the time that the tables take to be imported.
"""
