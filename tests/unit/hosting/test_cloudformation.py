"""The YAML of templates, compared with SAM's own reader."""

from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

from hosting.cloudformation import parse

ROOT = Path(__file__).parents[3]

SHORT_FORMS = """
ref: !Ref Name
attribute: !GetAtt Function.Arn
nested_attribute: !GetAtt Nested.Outputs.Url
listed_attribute: !GetAtt [Function, Arn]
text: !Sub "${Name}-x"
mapped: !Sub ["${A}", {A: !Ref Name}]
chosen: !If [IsProd, !Ref A, !Ref "AWS::NoValue"]
condition: !Condition IsProd
all: !And [!Condition A, !Not [!Equals [!Ref B, ""]]]
joined: !Join [",", [a, !Ref B]]
imported:
  Fn::ImportValue: !Sub "${Name}-vpc"
version: 2010-09-09
"""


def test_short_forms_are_read_as_sam_reads_them() -> None:
    assert parse(SHORT_FORMS) == yaml_parse(SHORT_FORMS)


def test_our_template_is_read_as_sam_reads_it() -> None:
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    assert parse(text) == yaml_parse(text)
