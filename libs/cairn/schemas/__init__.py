"""What is generated from the catalogue of events: JSON Schemas, the AsyncAPI document and the page for people."""

from cairn.schemas.examples import Example, read_examples
from cairn.schemas.generate import differences, generate, write
from cairn.schemas.json_schema import json_schema
