/** An htpasswd hash of "open sesame", made by crypt(3). */
export const OPEN_SESAME = '$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW';
