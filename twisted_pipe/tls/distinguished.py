"""
Whose a certificate is, as text (RFC 4514): C{"CN=alice,O=Example"}.

Attributes are called as OpenSSL calls them, and so nginx: what an application compares with stays as it was. RFC 4514 has short
names for nine of them only.
"""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.x509.oid import NameOID

__all__ = ["distinguished_name"]

_SHORT_NAMES = {
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.SURNAME: "SN",
    NameOID.GIVEN_NAME: "GN",
    NameOID.INITIALS: "initials",
    NameOID.TITLE: "title",
    NameOID.PSEUDONYM: "pseudonym",
    NameOID.GENERATION_QUALIFIER: "generationQualifier",
    NameOID.DN_QUALIFIER: "dnQualifier",
    NameOID.STREET_ADDRESS: "street",
    NameOID.POSTAL_CODE: "postalCode",
    NameOID.POSTAL_ADDRESS: "postalAddress",
    NameOID.BUSINESS_CATEGORY: "businessCategory",
    NameOID.ORGANIZATION_IDENTIFIER: "organizationIdentifier",
    NameOID.JURISDICTION_COUNTRY_NAME: "jurisdictionC",
    NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME: "jurisdictionST",
    NameOID.JURISDICTION_LOCALITY_NAME: "jurisdictionL",
    NameOID.UNSTRUCTURED_NAME: "unstructuredName",
}


def distinguished_name(certificate: x509.Certificate, whose: str = "subject") -> str:
    """
    It may be written to a header or a log: everything that is not printable ASCII is a backslash and hexadecimal digits.

    @param whose: C{"subject"} or C{"issuer"}.
    @raise ValueError: OpenSSL takes the name and cryptography cannot read it, such as a C{T61String} in Latin-1.
    """
    name: x509.Name = getattr(certificate, whose)
    text = name.rfc4514_string(_SHORT_NAMES).encode()
    return re.sub(rb"[^ -~]", lambda match: b"\\%02X" % match[0][0], text).decode("ascii")
