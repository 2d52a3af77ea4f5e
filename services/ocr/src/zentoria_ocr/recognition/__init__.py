"""Pages without a text layer get one: Tesseract through OCRmyPDF, in a process with limits, page by page."""
