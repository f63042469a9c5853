"""What machines read of a run: JUnit's XML, and the commands by which GitHub Actions marks what went wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Suite:
    """A suite of JUnit's tests, `classname` for all of them."""

    def __init__(self, name: str, classname: str, seconds: float, properties: Mapping[str, str]) -> None:
        self._suite = ET.Element("testsuite", name=name, time=f"{seconds:.3f}")
        self._classname = classname
        listed = ET.SubElement(self._suite, "properties")
        for key, value in properties.items():
            ET.SubElement(listed, "property", name=key, value=xml_text(value))

    def test(self, name: str, seconds: float = 0.0) -> ET.Element:
        """One more test, which has passed unless something is added to it."""
        return ET.SubElement(
            self._suite, "testcase", classname=self._classname, name=xml_text(name), time=f"{seconds:.3f}"
        )

    def text(self) -> str:
        """The document, with what is counted."""
        self._suite.set("tests", str(len(self._suite.findall("testcase"))))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            self._suite.set(attribute, str(len(self._suite.findall(f"testcase/{tag}"))))
        suites = ET.Element("testsuites")
        suites.append(self._suite)
        ET.indent(suites)
        return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def add_to(test: ET.Element, tag: str, text: str, message: str = "", **attributes: str) -> None:
    """Say of a test that it has failed, is in error, skipped, or what it has printed, by JUnit's name for that."""
    values = {name: xml_text(value) for name, value in attributes.items()}
    if message:
        values["message"] = xml_text(message)
    ET.SubElement(test, tag, values).text = xml_text(text) or None


def xml_text(text: str) -> str:
    """Text without what XML cannot say."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def annotation(command: str, title: str, text: str, **place: object) -> str:
    """A command that GitHub Actions shows at the run, `error` or `notice`; `place` is file, line, col."""
    words = {**place, "title": title}
    listed = ",".join(f"{name}={_word(str(value))}" for name, value in words.items())
    return f"::{command} {listed}::{_line(text)}"


def _line(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _word(text: str) -> str:
    return _line(text).replace(":", "%3A").replace(",", "%2C")
