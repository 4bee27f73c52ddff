from __future__ import annotations

import ipaddress

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from cupel.operators.text.pii import Pii

EXAMPLES = {
    (region, kind): number
    for region in sorted(phonenumbers.SUPPORTED_REGIONS - {"US"})  # its examples are fictitious ones
    for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE)
    if (number := phonenumbers.example_number_for_type(region, kind))
}


def counts(measure, text: str) -> tuple[int, int, int]:
    found = measure(Pii(), [text])
    return found["pii_emails"][0], found["pii_phones"][0], found["pii_ips"][0]


def phones(measure, texts: list[str]) -> list[int]:
    return measure(Pii(), texts)["pii_phones"]


def of_enough_digits(text: str, least: int) -> bool:
    return sum(character.isdigit() for character in text) >= least


def test_numbers_of_every_country_as_they_are_dialled_from_abroad(measure):
    assert len(EXAMPLES) > 400
    for style in (PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.E164):
        written = [phonenumbers.format_number(number, style) for number in EXAMPLES.values()]
        written = [text for text in written if of_enough_digits(text, 8)]
        assert len(written) > 0.97 * len(EXAMPLES)
        assert [text for text, n in zip(written, phones(measure, written), strict=True) if n != 1] == []


def test_numbers_of_every_country_behind_a_word(measure):
    written = [phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL) for number in EXAMPLES.values()]
    written = [text for text in written if of_enough_digits(text, 7) and text.isascii()]
    for word in ("Tel. ", "call us at ", "Fax: ", "телефон ", "電話：", "☎️ "):
        texts = [f"a shop, {word}{text}, open" for text in written]
        assert [text for text, n in zip(texts, phones(measure, texts), strict=True) if n != 1] == []


def test_numbers_of_north_america(measure):
    for number in (phonenumbers.example_number(region) for region in ("CA", "JM", "PR", "DO", "BS")):
        text = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        dashed = text.replace("(", "").replace(") ", "-")
        assert phones(measure, [text, dashed, dashed.replace("-", "."), f"1-{dashed}"]) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "text",
    [
        *("1/2/2013", "2013-01-02", "06-08-2018", "22/09/2011 - YouTube", "2010-01-12 17:00:00", "25.12.2012 12.30"),
        *(
            "1996-1998",
            "1920–1933",
            "2008-2009-2010",
            "99 00 01 02 03 04 Jeep",
            "01 02 03 04 05 Ford",
            "1969/1970/1971",
        ),
        *("$1,299.00", "€ 1.299,00", "1 000 000 people", "US$4 000 812", "£100 000 000", "0.32893747091293335"),
        *("ISBN 978-0-306-40615-7", "ISBN 0-340-40170-2", "9780340829752", "0330446991", "Stock Photo #11031981"),
        *(
            "1920 x 1080 x 32",
            "650x465x1200",
            "100/100-18 - 1995",
            "110/90-19",
            "Code: 600-06382904",
            "RZ03-02040100-R3M1",
        ),
        *("619-00-777-911-0", "2-26-14-40", "299508-1790", "402 22 23580 model 28022018", "1-2-3-4-5-6-7-8-9-10-11"),
        *(
            "phone 2012-2013",
            "iPhone 123 4567 890",
            "cell 12/18/2011",
            "phone 128 256",
            "555088 688",
            "518 519 530 531 537",
        ),
        *(
            "202-555-0143",
            "(555) 555-0100",
            "tel +1 202 555 0100",
            "411-555-2368-99",
            "http://a.b/0123 456 789",
            "+999 123 45678",
        ),
    ],
)
def test_what_is_no_phone_number(measure, text):
    assert phones(measure, [text, f"a {text} b"]) == [0, 0]


@pytest.mark.parametrize(
    ("text", "emails"),
    [
        ("write to (Jo.Do+x@Mail.example-shop.co.uk).", 1),
        ("a@b.com,c@d.org;-e_f@g.museum", 3),
        ("联系info@shop.cn购买", 1),
        ("photo@2x.png @handle a@b user@localhost 143546559@N02/4 a@b.c SETI@home", 0),
        ("email@example.com, x@sub.example.org, me@example", 0),
        ("a@-b.com a@b..com @b.com @user", 0),
        (f"{'x' * 65}@b.com", 0),
    ],
)
def test_mail_addresses(measure, text, emails):
    assert counts(measure, text) == (emails, 0, 0)


@pytest.mark.parametrize(
    ("text", "ips"),
    [
        ("server 93.184.216.34:8080, 2606:4700:10::6816:826 up", 2),
        ("IP: 8.8.4.4", 1),
        ("v1.0.1.200, version 4.0.0.245, APK 3.7.5.8, section 3.2.2.5, 1.2.3.4", 0),
        ("192.168.100.1 127.0.0.1 10.0.0.255 203.0.113.7 2001:db8::1 fe80::1 ::1", 0),
        ("256.100.100.100 1.2.3.400 100.100.100.100.100 500.000.000.000 10:30:13 std::string", 0),
    ],
)
def test_ip_addresses(measure, text, ips):
    assert counts(measure, text) == (0, 0, ips)


def test_what_is_public_is_as_the_standard_library_says(measure):
    addresses = [ipaddress.ip_address(n * 0x01F3_57A9 % 2**32) for n in range(2000)]
    texts = [f"IP {address}" for address in addresses]
    assert measure(Pii(), texts)["pii_ips"] == [int(address.is_global) for address in addresses]


def test_real_captions_have_few(measure, captions):
    """Each of these was looked at."""
    found = measure(Pii(), captions)
    assert {name: sum(values) for name, values in found.items()} == {"pii_emails": 0, "pii_phones": 5, "pii_ips": 0}


@pytest.mark.parametrize(
    "text",
    [
        *("1-" * 500_000, "a@" * 500_000, "1 " * 500_000, "+1" * 500_000, "a@" + "b." * 500_000, "2001:" * 200_000),
        *("1.1." * 250_000, "(202) 555-" * 100_000, "call us at no " * 70_000, "tel 1(2)3.4" * 90_000, "0" * 1_000_000),
    ],
    ids=lambda text: text[:8],
)
def test_a_megabyte_made_to_be_tried_again_and_again(measure, text):
    assert counts(measure, f"{text} 93.184.216.34, a@b.com, tel. 030 123456") == (1, 1, 1)
