"""Checks recipes against a JSON Schema, as the tests call it:

    .peers/schema/bin/python scripts/oracle/schema.py SCHEMA < recipes.json

It reads a list of recipes and prints a list with the mistakes of each, as "/path/to/value: message".
"""

import json
import sys

from jsonschema import Draft7Validator

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
Draft7Validator.check_schema(schema)
validator = Draft7Validator(schema)


def mistakes(recipe):
    errors = validator.iter_errors(recipe)
    return ["".join(f"/{key}" for key in error.absolute_path) + f": {error.message}" for error in errors]


print(json.dumps([mistakes(recipe) for recipe in json.load(sys.stdin)]))
