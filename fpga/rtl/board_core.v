// SPDX-License-Identifier: Apache-2.0
//
// A network behind a UART: all of a board but its clock, its reset and its pins. fpga/README.md
// has the protocol.
//
// An image goes into the network only when its frame was right, and whole: nothing that happens on
// the wire leaves half an image in the pipeline. A network that does not answer, or says that
// something was wrong with the image, is reset.
//
// At the start, and after the network was reset, a blank image goes through it and its logits are
// dropped: by then every ROM has been read once, and `signature` is that of all weights. Frames
// that come meanwhile wait.
//
// The macro NETWORK is the name of the network's top module.

`default_nettype none

module board_core #(
    parameter IMAGE_BYTES    = 784,   // height x width x channels
    parameter BEAT_BYTES     = 1,     // bytes of a beat of the network's input
    parameter CLASSES        = 10,    // at most 8,000
    parameter LOGIT_LANES    = 1,     // logits of a beat of the network's output
    parameter LAYERS         = 1,     // with weights
    parameter IDENTITY_FILE  = "",    // path of identity.mem, as fpga/identity.py writes it
    parameter IDENTITY_BYTES = 66,    // bytes of it
    parameter BAUD_DIVISOR   = 8,     // clocks a bit, at least 8
    parameter TIMEOUT        = 65536  // clocks: longest gap in a frame, and longest wait for the
                                      // network; longer than a byte and than an image's latency
) (
    input  wire       clk,
    input  wire       rst,
    input  wire       uart_rx,
    output wire       uart_tx,
    output wire [3:0] digit,        // class of the last image, its lowest bits
    output wire       digit_valid,
    output wire       active        // a frame is coming in, worked on or answered
);

    localparam [7:0] IDENTIFY = 1, CLASSIFY = 2, REPEAT = 3, STATUS = 4;
    localparam [3:0] OK = 0, WRONG_LENGTH = 4, NO_IMAGE = 6, NO_ANSWER = 7;

    localparam SIGNATURE_BYTES = 4 * LAYERS;
    localparam SIGNATURE_FIRST = 1 + IDENTITY_BYTES;
    localparam SIGNATURE_WIDTH = $clog2(SIGNATURE_BYTES);
    localparam IDENTITY_WIDTH  = $clog2(IDENTITY_BYTES + 1);
    localparam CLASS_WIDTH     = (CLASSES > 1) ? $clog2(CLASSES) : 1;

    // Payloads of replies, status code included.
    localparam IDENTIFY_LENGTH = SIGNATURE_FIRST + SIGNATURE_BYTES;
    localparam CLASSIFY_LENGTH = 7 + 4 * CLASSES;
    localparam REPEAT_LENGTH   = 9;
    localparam STATUS_LENGTH   = 7;
    localparam ERROR_LENGTH    = 1;
    localparam LONGEST         = (IDENTIFY_LENGTH > CLASSIFY_LENGTH) ? IDENTIFY_LENGTH
                                                                     : CLASSIFY_LENGTH;
    localparam LENGTH_WIDTH    = $clog2(LONGEST + 1);

    generate
        if (TIMEOUT <= 10 * BAUD_DIVISOR) begin : gen_bad_timeout
            error_TIMEOUT_must_be_longer_than_a_byte error();
        end
        if (CLASSES > 8000) begin : gen_bad_classes
            error_CLASSES_must_be_at_most_8000 error();
        end
    endgenerate

    // ---- The wire -------------------------------------------------------------------------------

    wire       rx_line, rx_bit, rx_bit_valid, rx_valid, rx_framing_error;
    wire [7:0] rx_data;
    wire       tx_bit, tx_bit_valid, tx_valid, tx_ready;
    wire [7:0] tx_data;

    uart_rx #(
        .BAUD_DIVISOR (BAUD_DIVISOR)
    ) receiver (
        .clk            (clk),
        .rst            (rst),
        .rx             (uart_rx),
        .line           (rx_line),
        .data_bit       (rx_bit),
        .data_bit_valid (rx_bit_valid),
        .data           (rx_data),
        .valid          (rx_valid),
        .framing_error  (rx_framing_error)
    );

    uart_tx #(
        .BAUD_DIVISOR (BAUD_DIVISOR)
    ) transmitter (
        .clk            (clk),
        .rst            (rst),
        .data           (tx_data),
        .valid          (tx_valid),
        .ready          (tx_ready),
        .data_bit       (tx_bit),
        .data_bit_valid (tx_bit_valid),
        .tx             (uart_tx)
    );

    // ---- Frames ---------------------------------------------------------------------------------

    wire                    frame_idle, frame_valid, payload_valid, image_valid;
    wire [3:0]              frame_code;
    wire [7:0]              command, tag;
    wire [LENGTH_WIDTH-1:0] reply_index;
    reg  [LENGTH_WIDTH-1:0] reply_length;
    reg  [7:0]              reply_byte, reply_byte_reg;
    wire                    reply_taken, reply_done;

    localparam [2:0] BOOT = 0, TEST = 1, IDLE = 2, RUN = 3, START = 4, REPLY = 5;

    reg [2:0] state_reg = BOOT;
    reg [3:0] code_reg  = OK;  // what the reply says

    frame_receive #(
        .IMAGE_BYTES (IMAGE_BYTES),
        .TIMEOUT     (TIMEOUT)
    ) receive (
        .clk              (clk),
        .rst              (rst),
        .rx_line          (rx_line),
        .rx_bit           (rx_bit),
        .rx_bit_valid     (rx_bit_valid),
        .rx_data          (rx_data),
        .rx_valid         (rx_valid),
        .rx_framing_error (rx_framing_error),
        .idle             (frame_idle),
        .payload_valid    (payload_valid),
        .image_valid      (image_valid),
        .frame_valid      (frame_valid),
        .code             (frame_code),
        .command          (command),
        .tag              (tag),
        .resume           (reply_done),
        .drain            (code_reg != OK)
    );

    frame_send #(
        .LENGTH_WIDTH (LENGTH_WIDTH)
    ) send (
        .clk           (clk),
        .rst           (rst),
        .start         (state_reg == START),
        .command       (command),
        .tag           (tag),
        .length        (reply_length),
        .payload_index (reply_index),
        .payload_data  (reply_byte_reg),
        .payload_taken (reply_taken),
        .done          (reply_done),
        .tx_data       (tx_data),
        .tx_valid      (tx_valid),
        .tx_ready      (tx_ready),
        .tx_bit        (tx_bit),
        .tx_bit_valid  (tx_bit_valid)
    );

    // ---- The network ----------------------------------------------------------------------------

    reg                       network_rst_reg = 1'b0;
    reg  [15:0]               count_reg;             // last two bytes of a payload
    wire                      run_start, run, run_done, run_failed;
    wire [15:0]               images = (command == REPEAT && state_reg == IDLE) ? count_reg : 16'd1;
    wire                      image_done, image_differs, misplaced, frame_error;
    wire [31:0]               cycles;
    wire [15:0]               differing;
    wire [CLASS_WIDTH-1:0]    class_index;
    wire [15:0]               class_word = {{(16 - CLASS_WIDTH){1'b0}}, class_index};
    wire [7:0]                identity_byte;
    wire [31:0]               logit;
    wire [32*LAYERS-1:0]      signature;

    wire [8*BEAT_BYTES-1:0]   pixel_tdata;
    wire                      pixel_tvalid, pixel_tready, pixel_tlast;
    wire [32*LOGIT_LANES-1:0] logit_tdata;
    wire [CLASS_WIDTH-1:0]    logit_tuser;
    wire [15-CLASS_WIDTH:0]   unused_tuser;
    wire                      logit_tvalid, logit_tlast;

    image_store #(
        .IMAGE_BYTES    (IMAGE_BYTES),
        .BEAT_BYTES     (BEAT_BYTES),
        .IDENTITY_FILE  (IDENTITY_FILE),
        .IDENTITY_BYTES (IDENTITY_BYTES)
    ) image_store (
        .clk           (clk),
        .rst           (rst),
        .rewind        (frame_idle),
        .write         (image_valid),
        .write_data    (rx_data),
        .identity_addr (reply_index[IDENTITY_WIDTH-1:0]),
        .identity_data (identity_byte),
        .start         (run_start),
        .stop          (run_failed),
        .blank         (state_reg == TEST),
        .images        (images),
        .m_axis_tdata  (pixel_tdata),
        .m_axis_tlast  (pixel_tlast),
        .m_axis_tvalid (pixel_tvalid),
        .m_axis_tready (pixel_tready)
    );

    `NETWORK network (
        .clk           (clk),
        .rst           (network_rst_reg),
        .s_axis_tdata  (pixel_tdata),
        .s_axis_tvalid (pixel_tvalid),
        .s_axis_tready (pixel_tready),
        .s_axis_tlast  (pixel_tlast),
        .m_axis_tdata  (logit_tdata),
        .m_axis_tuser  ({unused_tuser, logit_tuser}),
        .m_axis_tvalid (logit_tvalid),
        .m_axis_tready (1'b1),
        .m_axis_tlast  (logit_tlast),
        .frame_error   (frame_error),
        .signature     (signature)
    );

    logit_store #(
        .CLASSES     (CLASSES),
        .LOGIT_LANES (LOGIT_LANES)
    ) logit_store (
        .clk           (clk),
        .run           (run),
        .compare       (command == REPEAT && state_reg == RUN),
        .s_axis_tdata  (logit_tdata),
        .s_axis_tuser  (logit_tuser),
        .s_axis_tlast  (logit_tlast),
        .s_axis_tvalid (logit_tvalid),
        .image_done    (image_done),
        .image_differs (image_differs),
        .misplaced     (misplaced),
        .class_index   (class_index),
        .read          (state_reg == REPLY),
        // The last byte of each logit has an index of 10, 14, 18, ...
        .read_next     (reply_taken && reply_index > 7 && reply_index[1:0] == 2),
        .read_logit    (logit)
    );

    run_control #(
        .TIMEOUT (TIMEOUT)
    ) run_control (
        .clk           (clk),
        .rst           (rst),
        .start         (run_start),
        .images        (images),
        .pixels_taken  (pixel_tvalid && pixel_tready),
        .image_done    (image_done),
        .image_differs (image_differs),
        .fault         (misplaced || frame_error),
        .run           (run),
        .done          (run_done),
        .failed        (run_failed),
        .cycles        (cycles),
        .differing     (differing)
    );

    // ---- What is done about a frame -------------------------------------------------------------

    reg        stored_reg = 1'b0;  // the image, its class and its logits belong together
    reg        tested_reg = 1'b0;
    reg [15:0] frames_reg = 0;
    reg [15:0] errors_reg = 0;
    reg [3:0]  last_error_reg = OK;

    wire wanted = state_reg == IDLE && frame_valid && frame_code == OK
                  && (command == CLASSIFY || (command == REPEAT && count_reg != 0 && stored_reg));

    assign run_start   = state_reg == BOOT || wanted;
    assign digit       = class_word[3:0];
    assign digit_valid = stored_reg;
    assign active      = !frame_idle || state_reg != IDLE;

    always @(posedge clk) begin
        network_rst_reg <= rst || run_failed;
        if (payload_valid)
            count_reg <= {rx_data, count_reg[15:8]};

        case (state_reg)
            BOOT:
                state_reg <= TEST;
            TEST:
                if (run_done || run_failed) begin
                    state_reg  <= IDLE;
                    tested_reg <= run_done;
                end
            IDLE:
                if (frame_valid) begin
                    state_reg <= wanted ? RUN : START;
                    code_reg  <= frame_code;
                    if (frame_code == OK && command == REPEAT)
                        code_reg <= (count_reg == 0) ? WRONG_LENGTH : stored_reg ? OK : NO_IMAGE;
                end
            RUN:
                if (run_done || run_failed) begin
                    state_reg  <= START;
                    code_reg   <= run_done ? OK : NO_ANSWER;
                    stored_reg <= run_done;
                end
            START:
                state_reg <= REPLY;
            default:
                if (reply_done) begin
                    state_reg <= (code_reg == NO_ANSWER) ? BOOT : IDLE;
                    if (code_reg == OK) begin
                        frames_reg <= frames_reg + 1'b1;
                    end else begin
                        errors_reg     <= errors_reg + 1'b1;
                        last_error_reg <= code_reg;
                    end
                end
        endcase

        // Whatever was wrong, the host may have meant to send another image.
        if (image_valid || (state_reg == START && code_reg != OK))
            stored_reg <= 1'b0;

        if (rst) begin
            state_reg      <= BOOT;
            code_reg       <= OK;
            stored_reg     <= 1'b0;
            tested_reg     <= 1'b0;
            frames_reg     <= 0;
            errors_reg     <= 0;
            last_error_reg <= OK;
        end
    end

    // ---- What a reply holds ---------------------------------------------------------------------

    wire [SIGNATURE_WIDTH-1:0] signature_index = reply_index[SIGNATURE_WIDTH-1:0]
                                                 - SIGNATURE_FIRST[SIGNATURE_WIDTH-1:0];
    wire [31:0]                reply_word      = (reply_index < 7) ? cycles : logit;
    // Both begin at an index of 3 modulo 4.
    wire [1:0]                 word_byte       = reply_index[1:0] + 1'b1;

    always @* begin
        case (command)
            IDENTIFY: reply_length = IDENTIFY_LENGTH[LENGTH_WIDTH-1:0];
            CLASSIFY: reply_length = CLASSIFY_LENGTH[LENGTH_WIDTH-1:0];
            REPEAT:   reply_length = REPEAT_LENGTH[LENGTH_WIDTH-1:0];
            default:  reply_length = STATUS_LENGTH[LENGTH_WIDTH-1:0];
        endcase
        if (code_reg != OK)
            reply_length = ERROR_LENGTH[LENGTH_WIDTH-1:0];

        if (reply_index == 0)
            reply_byte = {4'd0, code_reg};
        else if (command == IDENTIFY)
            reply_byte = (reply_index < SIGNATURE_FIRST[LENGTH_WIDTH-1:0])
                         ? identity_byte
                         : signature[8*signature_index +: 8];
        else if (command == STATUS)
            case (reply_index[2:0])
                1:       reply_byte = frames_reg[7:0];
                2:       reply_byte = frames_reg[15:8];
                3:       reply_byte = errors_reg[7:0];
                4:       reply_byte = errors_reg[15:8];
                5:       reply_byte = {4'd0, last_error_reg};
                default: reply_byte = {6'd0, tested_reg, stored_reg};
            endcase
        else if (reply_index == 1)
            reply_byte = class_word[7:0];
        else if (reply_index == 2)
            reply_byte = class_word[15:8];
        else if (command == REPEAT && reply_index == 7)
            reply_byte = differing[7:0];
        else if (command == REPEAT && reply_index == 8)
            reply_byte = differing[15:8];
        else
            reply_byte = reply_word[8*word_byte +: 8];
    end

    always @(posedge clk)
        reply_byte_reg <= reply_byte;

endmodule

`default_nettype wire
