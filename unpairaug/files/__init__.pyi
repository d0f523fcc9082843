from .foreign_json import parse_json as parse_json, parse_json_object as parse_json_object, read_json as read_json
