"""The vault: the only place where personal data is kept. Everything else carries its tokens.

A person record (``prs_...``) is what one order or account says about a person: name, address,
e-mail. A contact (``ctc_...``) stands for one e-mail address, the same for every record with it.
"""
