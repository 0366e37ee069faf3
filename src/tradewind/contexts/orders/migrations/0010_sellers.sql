-- Who sold, as the document said it when it was issued: settings change, papers do not.
-- Documents of before say nothing; they are shown with the seller of the settings, as they were.
ALTER TABLE orders.documents ADD COLUMN seller text;
