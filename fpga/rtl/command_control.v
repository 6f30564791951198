// SPDX-License-Identifier: Apache-2.0
//
// Does what a frame asks for, and then has it answered with a code.
//
// At the start, and after the network was reset, a blank image goes through it and its logits are
// dropped: by then every ROM has been read once, and the network's `signature` is that of all
// weights. Frames that come meanwhile wait.

`default_nettype none

module command_control (
    input  wire        clk,
    input  wire        rst,
    input  wire        payload_valid,
    input  wire [7:0]  payload_data,
    input  wire        frame_valid,
    input  wire [3:0]  frame_code,
    input  wire        classify,
    input  wire        repeating,
    output wire        idle,
    output wire        run_start,      // to run_control
    output wire        blank,          // it is the blank image that runs
    output wire        several,        // so many images run, not one:
    output wire [15:0] images,
    input  wire        run_done,
    input  wire        run_failed,
    output wire        network_rst,
    output wire        reply_start,    // for one clock
    output wire        replying,       // from then on until reply_done
    input  wire        reply_done,
    output wire [3:0]  code,           // of the reply
    output wire        stored,         // the image, its class and its logits belong together
    output wire        tested          // the blank image came through
);

    localparam [3:0] OK = 0, WRONG_LENGTH = 4, NO_IMAGE = 6, NO_ANSWER = 7;

    localparam [2:0] BOOT = 0, TEST = 1, IDLE = 2, BEGIN = 3, RUN = 4, START = 5, REPLY = 6;

    reg [2:0]  state_reg       = BOOT;
    reg [3:0]  code_reg        = OK;
    reg        stored_reg      = 1'b0;
    reg        tested_reg      = 1'b0;
    reg        network_rst_reg = 1'b0;
    reg [15:0] images_reg;

    assign idle        = state_reg == IDLE;
    assign run_start   = state_reg == BOOT || state_reg == BEGIN;
    assign blank       = state_reg == TEST;
    assign several     = state_reg == RUN && repeating;
    assign images      = images_reg;
    assign network_rst = network_rst_reg;
    assign reply_start = state_reg == START;
    assign replying    = state_reg == REPLY;
    assign code        = code_reg;
    assign stored      = stored_reg;
    assign tested      = tested_reg;

    always @(posedge clk) begin
        network_rst_reg <= rst || run_failed;
        if (payload_valid)
            images_reg <= {payload_data, images_reg[15:8]};

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
                    state_reg <= START;
                    code_reg  <= frame_code;
                    if (frame_code == OK && classify)
                        state_reg <= BEGIN;
                    if (frame_code == OK && repeating) begin
                        if (images_reg == 0)
                            code_reg <= WRONG_LENGTH;
                        else if (!stored_reg)
                            code_reg <= NO_IMAGE;
                        else
                            state_reg <= BEGIN;
                    end
                end
            BEGIN:
                state_reg <= RUN;
            RUN:
                if (run_done || run_failed) begin
                    state_reg  <= START;
                    code_reg   <= run_done ? OK : NO_ANSWER;
                    stored_reg <= run_done;
                end
            START:
                state_reg <= REPLY;
            default:
                if (reply_done)
                    state_reg <= (code_reg == NO_ANSWER) ? BOOT : IDLE;
        endcase

        // Whatever was wrong, the host may have meant to send another image.
        if (state_reg == START && code_reg != OK)
            stored_reg <= 1'b0;

        if (rst) begin
            state_reg  <= BOOT;
            code_reg   <= OK;
            stored_reg <= 1'b0;
            tested_reg <= 1'b0;
        end
    end

endmodule

`default_nettype wire
